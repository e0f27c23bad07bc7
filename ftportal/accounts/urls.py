"""Log in and out, people, and one-time links."""

from django.contrib.auth import views as auth_views
from django.urls import path

from ftportal.accounts import account_views, views
from ftportal.accounts.entering import LoginView
from ftportal.accounts.openid import views as openid
from ftportal.accounts.second_factor import views as second_factor

app_name = "accounts"
urlpatterns = [
    path("login/", LoginView.as_view(), name="login"),
    path("login/code/", second_factor.ask, name="second_factor_ask"),
    path("login/provider/", openid.start, name="openid_start"),
    path("login/provider/callback/", openid.callback, name="openid_callback"),
    path("logout/", auth_views.LogoutView.as_view(), name="logout"),
    path("welcome/<str:token>/", views.welcome, name="welcome"),
    path("account/", account_views.account, name="account"),
    path("account/dates/", account_views.account_dates, name="account_dates"),
    path("account/password/", account_views.account_password, name="account_password"),
    path("account/sessions/end/", account_views.account_sessions, name="account_sessions"),
    path("account/provider/connect/", openid.connect, name="openid_connect"),
    path("account/provider/disconnect/", openid.disconnect, name="openid_disconnect"),
    path("account/second-factor/", second_factor.second_factor, name="second_factor"),
    path("account/second-factor/codes/", second_factor.recovery_codes, name="recovery_codes"),
    path("account/second-factor/remove/", second_factor.remove, name="second_factor_remove"),
    path("people/", views.persons, name="people"),
    path("people/invite/", views.invite, name="invite"),
    path(
        "people/invitations/<int:pk>/withdraw/",
        views.invitation_withdraw,
        name="invitation_withdraw",
    ),
    path("people/<int:pk>/", views.person, name="person"),
    path("people/<int:pk>/roles/", views.person_roles, name="person_roles"),
    path("people/<int:pk>/state/", views.person_state, name="person_state"),
    path("people/<int:pk>/reset/", views.person_reset, name="person_reset"),
    path("people/<int:pk>/sessions/end/", views.person_sessions, name="person_sessions"),
    path(
        "people/<int:pk>/provider/disconnect/", openid.person_disconnect, name="person_disconnect"
    ),
    path(
        "people/<int:pk>/second-factor/reset/",
        second_factor.person_reset,
        name="person_second_factor",
    ),
]
